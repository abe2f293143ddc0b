# Sidekiq's Web UI on loopback, as an admin opens it under /sidekiq.
#
#   ruby webui.rb REDIS_URL PORT
require 'rack'
require 'rack/handler/webrick'
require 'securerandom'
require 'sidekiq'
require 'sidekiq/web'

Sidekiq.configure_client { |config| config.redis = { url: ARGV.fetch(0) } }

app = Rack::Builder.new do
  use Rack::Session::Cookie, secret: SecureRandom.hex(32), same_site: true
  map('/sidekiq') { run Sidekiq::Web }
end
quiet = WEBrick::Log.new(nil, WEBrick::BasicLog::FATAL)
Rack::Handler::WEBrick.run(app, Host: '127.0.0.1', Port: Integer(ARGV.fetch(1)), Logger: quiet,
                                AccessLog: [])
