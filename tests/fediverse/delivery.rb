# A Sidekiq of the tests that serves `push` as Mastodon's own does: it notes each delivery in the list
# tests:ran instead of sending it, and fails for hosts whose name begins with "status".
require_relative 'default'

Sidekiq.configure_server { |config| config.options[:poll_interval_average] = 1 }

module ActivityPub
  class DeliveryWorker
    include Sidekiq::Worker
    sidekiq_options queue: 'push', retry: 16, dead: false

    def perform(*args)
      Sidekiq.redis { |redis| redis.rpush('tests:ran', Sidekiq.dump_json('jid' => jid, 'args' => args)) }
      raise ArgumentError, 'Ruby failed, too' if args[2].include?('//status')
    end
  end
end
