# What a Sidekiq of the tests loads to deliver as Mastodon's own worker does, without the signature:
# it POSTs, and anything but 2xx fails the job. Counts what it delivered in Redis (`ruby:delivered`).
#
#   REDIS_URL=… RESOLVER=ADDRESS:PORT sidekiq -q push -r ./push_worker.rb
require 'net/http'
require 'resolv'
require 'sidekiq'

Sidekiq.configure_server { |config| config.redis = { url: ENV.fetch('REDIS_URL') } }

module ActivityPub
  class DeliveryWorker
    include Sidekiq::Worker
    sidekiq_options queue: 'push', retry: 16, dead: false

    def perform(json, _account_id, inbox_url, _options = {})
      uri = URI(inbox_url)
      http = Net::HTTP.new(uri.host, uri.port)
      http.ipaddr = address_of(uri.host)
      answer = http.post(uri.request_uri, json, 'Content-Type' => 'application/activity+json')
      raise "#{inbox_url} returned code #{answer.code}" unless answer.is_a?(Net::HTTPSuccess)

      Sidekiq.redis { |redis| redis.incr('ruby:delivered') }
    end

    private

    def address_of(host)
      address, port = ENV.fetch('RESOLVER').split(':')
      Resolv::DNS.open(nameserver_port: [[address, Integer(port)]]) { |dns| dns.getaddress(host).to_s }
    end
  end
end
