# What a Sidekiq of the tests loads: it serves the hand-off queue and knows one class, which does
# nothing. Classes that it doesn't know fail there, as anywhere.
require 'sidekiq'

Sidekiq.configure_server { |config| config.redis = { url: ENV.fetch('REDIS_URL') } }

module Web
  class PushNotificationWorker
    include Sidekiq::Worker
    def perform(*); end
  end
end
