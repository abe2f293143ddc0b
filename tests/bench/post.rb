# Pushes one post to many inboxes as Mastodon's distribution does: push_bulk, 1,000 jobs a time. Says
# "ready" when everything but that is done, pushes at each line of its input, and answers with the
# time (CLOCK_MONOTONIC, seconds) at which it began.
#
#   ruby post.rb REDIS_URL JOBS [prepared]     JOBS: a JSON file, [args, args, …]
#
# Prepared: a line makes the jobs, which is answered with "made"; only the next one pushes them.
require 'json'
require 'sidekiq'

Sidekiq.logger.level = Logger::WARN
Sidekiq.configure_client { |config| config.redis = { url: ARGV.fetch(0), network_timeout: 30 } }
JOB = { 'class' => 'ActivityPub::DeliveryWorker', 'retry' => 16, 'dead' => false, 'queue' => 'push' }.freeze

# Keeps what Sidekiq's client would send, for later.
class Preparer < Sidekiq::Client
  def initialize
    super
    @commands = []
  end

  def sadd(key, member) = @commands << [:sadd, key, member]
  def lpush(key, jobs) = @commands << [:lpush, key, jobs]

  def send_all
    Sidekiq.redis { |redis| @commands.each { |command| redis.public_send(*command) } }
  end

  private

  def raw_push(payloads) = atomic_push(self, payloads)
end

def push_all(client, slices)
  slices.each { |args| client.push_bulk(JOB.merge('args' => args)) }
end

slices = JSON.parse(File.read(ARGV.fetch(1))).each_slice(1000).to_a
Sidekiq.redis(&:ping)
$stdout.sync = true
puts 'ready'
while $stdin.gets
  if ARGV[2] == 'prepared'
    preparer = Preparer.new
    push_all(preparer, slices)
    puts 'made'
    $stdin.gets
  end
  began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  preparer ? preparer.send_all : push_all(Sidekiq::Client.new, slices)
  puts began
end
