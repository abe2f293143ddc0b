# Prints what Sidekiq's own API sees, as one JSON object.
#
#   ruby read.rb REDIS_URL [CA_FILE]
require 'json'
require 'sidekiq/api'

redis = { url: ARGV.fetch(0) }
redis[:ssl_params] = { ca_file: ARGV[1] } if ARGV[1]
Sidekiq.configure_client { |config| config.redis = redis }

def entries(set)
  set.map do |entry|
    { jid: entry.jid, class: entry.klass, args: entry.args, queue: entry.queue, score: entry.score,
      at: entry.at.to_f, item: entry.item }
  end
end

def processes
  Sidekiq::ProcessSet.new.map do |process|
    { identity: process.identity, tag: process.tag, queues: process['queues'], busy: process['busy'],
      concurrency: process['concurrency'], quiet: process.stopping? }
  end
end

stats = Sidekiq::Stats.new
puts JSON.generate(
  processed: stats.processed, failed: stats.failed, queues: stats.queues,
  retry: entries(Sidekiq::RetrySet.new), scheduled: entries(Sidekiq::ScheduledSet.new),
  dead: entries(Sidekiq::DeadSet.new), processes: processes,
  push: Sidekiq::Queue.new('push').map(&:item), default: Sidekiq::Queue.new('default').map(&:item)
)
