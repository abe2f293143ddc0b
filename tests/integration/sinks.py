"""Where alerts go: a mail server and a webhook's receiver, both in threads of the test's own."""

import base64
import hmac
import http.server
import socketserver
import ssl
import threading


class Mail:
    """One mail as it was received."""

    def __init__(self, session, sender, recipients, content):
        self.tls, self.login, self.ehlo = session.tls, session.login, session.ehlo
        self.sender, self.recipients, self.content = sender, recipients, content


class _Session(socketserver.StreamRequestHandler):
    timeout = 60
    tls, login, ehlo = False, None, None

    def say(self, *lines):
        for number, line in enumerate(lines):
            mark = " " if number + 1 == len(lines) else "-"
            self.wfile.write(f"{line[:3]}{mark}{line[4:]}\r\n".encode())

    def line(self):
        return self.rfile.readline(4096).decode("latin-1").rstrip("\r\n")

    def wrap(self):
        self.request = self.server.box.context.wrap_socket(self.request, server_side=True)
        self.setup()
        self.tls = True

    def ask(self, question):
        self.say("334 " + base64.b64encode(question.encode()).decode())
        return base64.b64decode(self.line())

    def authenticate(self, method, initial):
        user, password = self.server.box.login
        if method == "PLAIN":
            given = base64.b64decode(initial) if initial else self.ask("")
            good = given == f"\0{user}\0{password}".encode()
        elif method == "LOGIN":
            name = base64.b64decode(initial) if initial else self.ask("Username:")
            good = (name, self.ask("Password:")) == (user.encode(), password.encode())
        else:
            digest = hmac.new(password.encode(), b"<1@mail>", "md5").hexdigest()
            good = self.ask("<1@mail>") == f"{user} {digest}".encode()
        self.login = (method, user) if good else None
        self.say("235 welcome" if good else "535 go away")

    def data(self):
        self.say("354 go on")
        content = b""
        while not content.endswith(b"\r\n.\r\n") and content != b".\r\n":
            content += self.rfile.readline(65536)
        return content[:-3].replace(b"\r\n..", b"\r\n.")

    def handle(self):
        try:
            if self.server.box.tls:
                self.wrap()
            self.talk()
        except (OSError, ValueError):
            pass  # the client went away, or didn't like the certificate

    def talk(self):
        box = self.server.box
        sender, recipients = None, []
        self.say("220 mail")
        while True:
            line = self.line()
            verb = line.split(" ")[0].upper()
            if verb in ("", "QUIT"):
                self.say("221 bye")
                return
            if verb == "EHLO":
                self.ehlo = line.split(" ", 1)[1]
                offers = ["STARTTLS"] if box.starttls and not self.tls else []
                self.say("250 mail", *[f"250 {word}" for word in offers + box.offers])
            elif verb == "STARTTLS":
                self.say("220 begin")
                self.wrap()
            elif verb == "AUTH":
                self.authenticate(*(line.split(" ") + [None])[1:3])
            elif verb == "MAIL" and box.login and not self.login:
                self.say("530 log in first")
            elif verb in ("MAIL", "RCPT"):
                address = line.split("<", 1)[1].split(">", 1)[0]
                sender, recipients = (address, []) if verb == "MAIL" else (sender, recipients + [address])
                self.say("250 fine")
            elif verb == "DATA":
                box.mails.append(Mail(self, sender, recipients, self.data()))
                self.say("250 taken")
            else:
                self.say("500 what?")


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class Mailbox:
    """An SMTP server. `login`: (user, password) that it demands; `tls`: from the first byte."""

    def __init__(self, certificate, login=None, starttls=True, tls=False, methods="PLAIN LOGIN CRAM-MD5"):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate.cert, certificate.key)
        self.login, self.starttls, self.tls = login, starttls and not tls, tls
        self.offers = [f"AUTH {methods}"] if login else []
        self.mails = []
        self.server = _Server(("127.0.0.1", 0), _Session)
        self.server.box = self
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class _Posted(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.hook.posts.append((self.path, dict(self.headers), body))
        self.send_response(self.server.hook.status)
        self.send_header("Location", "http://127.0.0.1:1/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


class Webhook:
    """What is posted to it; it answers with `status`."""

    def __init__(self, status=200):
        self.status, self.posts = status, []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Posted)
        self.server.hook = self
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
