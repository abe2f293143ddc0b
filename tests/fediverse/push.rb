# Pushes jobs as Mastodon does, with Sidekiq's own client. Reads one JSON object a line:
#   {"class": "ActivityPub::DeliveryWorker", "args": […], "retry": 16, "dead": false,
#    "queue": "push", "in": seconds}
#   {"class": …, "bulk": [args, args, …], …}      one push_bulk, as sidekiq-bulk does
# and prints the jid of each job, one a line.
#
#   ruby push.rb REDIS_URL [CA_FILE] < JOBS
#
# With REDIS_NAMESPACE set it pushes into that namespace, as Mastodon up to 4.3 does.
require 'json'
require 'sidekiq'

Sidekiq.logger.level = Logger::WARN
redis = { url: ARGV.fetch(0), network_timeout: 30 } # machines that run tests can be slow
redis[:namespace] = ENV['REDIS_NAMESPACE'] unless ENV['REDIS_NAMESPACE'].to_s.empty?
redis[:ssl_params] = { ca_file: ARGV[1] } if ARGV[1]
Sidekiq.configure_client { |config| config.redis = redis }

# Mastodon's options of a delivery; a line may say otherwise.
DELIVERY = { 'retry' => 16, 'dead' => false, 'queue' => 'push' }.freeze

def push(line)
  job = DELIVERY.merge(JSON.parse(line))
  if (bulk = job.delete('bulk'))
    Sidekiq::Client.push_bulk(job.merge('args' => bulk))
  else
    seconds = job.delete('in')
    job['at'] = Time.now.to_f + seconds if seconds
    [Sidekiq::Client.push(job)]
  end
end

$stdin.each_line { |line| puts push(line) }
