# Pushes one post to many inboxes as Mastodon's distribution does: push_bulk, 1,000 jobs a time. Says
# "ready" when everything but that is done, pushes at each line of its input, and answers with the
# time (CLOCK_MONOTONIC, seconds) at which it began.
#
#   ruby post.rb REDIS_URL JOBS     JOBS: a JSON file, [args, args, …]
require 'json'
require 'sidekiq'

Sidekiq.logger.level = Logger::WARN
Sidekiq.configure_client { |config| config.redis = { url: ARGV.fetch(0), network_timeout: 30 } }
JOB = { 'class' => 'ActivityPub::DeliveryWorker', 'retry' => 16, 'dead' => false, 'queue' => 'push' }.freeze
slices = JSON.parse(File.read(ARGV.fetch(1))).each_slice(1000).to_a
Sidekiq.redis(&:ping)
$stdout.sync = true
puts 'ready'
while $stdin.gets
  began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  slices.each { |args| Sidekiq::Client.push_bulk(JOB.merge('args' => args)) }
  puts began
end
