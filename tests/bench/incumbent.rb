# What Debian's Sidekiq loads to be measured beside fedpush: a delivery as Mastodon's worker makes it on the
# wire (names asked for each time, at most two addresses, its time-outs, its signature with the key read from
# PEM), without Rails, PostgreSQL, TLS and Stoplight: each of them would cost it more, but for Stoplight, which
# knows inboxes and so never acts within one post.
#
#   REDIS_URL=… RESOLVER=ADDRESS:PORT KEY=FILE sidekiq -c 25 -q push -r ./incumbent.rb
require 'net/http'
require 'openssl'
require 'resolv'
require 'sidekiq'
require 'time'

Sidekiq.logger.level = Logger::ERROR
Sidekiq.configure_server { |config| config.redis = { url: ENV.fetch('REDIS_URL') } }

module ActivityPub
  class DeliveryWorker
    include Sidekiq::Worker
    sidekiq_options queue: 'push', retry: 16, dead: false

    PEM = File.read(ENV.fetch('KEY'))
    RESOLVER = ENV.fetch('RESOLVER').split(':').then { |address, port| [[address, Integer(port)]] }

    def perform(json, _account_id, inbox_url, _options = {})
      uri = URI(inbox_url)
      answer = deliver(uri, json, headers(uri, json))
      raise "#{inbox_url} returned code #{answer.code}" unless answer.is_a?(Net::HTTPSuccess)
    end

    private

    def headers(uri, json)
      fields = { '(request-target)' => "post #{uri.request_uri}", 'host' => "#{uri.host}:#{uri.port}",
                 'date' => Time.now.httpdate,
                 'digest' => "SHA-256=#{OpenSSL::Digest::SHA256.base64digest(json)}" }
      signed = fields.map { |name, value| "#{name}: #{value}" }.join("\n")
      signature = [OpenSSL::PKey::RSA.new(PEM).sign(OpenSSL::Digest.new('SHA256'), signed)].pack('m0')
      { 'Host' => fields['host'], 'Date' => fields['date'], 'Digest' => fields['digest'],
        'Content-Type' => 'application/activity+json',
        'Signature' => 'keyId="https://social.fedi.test/users/alice#main-key",algorithm="rsa-sha256",' \
                       "headers=\"#{fields.keys.join(' ')}\",signature=\"#{signature}\"" }
    end

    def deliver(uri, json, fields)
      addresses(uri.host).each_with_index do |address, index|
        http = Net::HTTP.new(uri.host, uri.port)
        http.ipaddr = address
        http.open_timeout, http.read_timeout, http.write_timeout = 5, 10, 10
        return http.post(uri.request_uri, json, fields)
      rescue Net::OpenTimeout, SystemCallError
        raise if index == 1
      end
      raise "#{uri.host} can't be reached"
    end

    def addresses(host)
      Resolv::DNS.open(nameserver_port: RESOLVER) do |dns|
        dns.timeouts = [5, 1]
        dns.getaddresses(host).map(&:to_s).first(2)
      end
    end
  end
end
