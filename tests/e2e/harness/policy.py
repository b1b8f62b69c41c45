"""An authority of our own, and a server of MTA-STS policies on loopback."""
import os
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Authority:
    """Signs certificates, kept in FOLDER; `pem` is its own."""

    def __init__(self, folder):
        self.folder = folder
        self.count = 0
        self.pem = f"{folder}/ca.pem"
        self._run("req", "-x509", *self._key("ca.key"), "-out", "ca.pem", "-days", "1", "-subj", "/CN=ca")

    def _run(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=self.folder)

    def _key(self, file):
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", file)

    def context(self, *names):
        """For a server: a certificate for NAMES, and the authority's behind it."""
        self.count += 1
        base = str(self.count)
        self._run("req", *self._key(f"{base}.key"), "-out", f"{base}.csr", "-subj", "/CN=x")
        with open(f"{self.folder}/{base}.ext", "w") as f:
            f.write("subjectAltName=" + ",".join(f"DNS:{n}" for n in names) + "\n")
        self._run("x509", "-req", "-in", f"{base}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                  "-CAcreateserial", "-days", "1", "-extfile", f"{base}.ext", "-out", f"{base}.pem")
        chain = os.path.join(self.folder, f"{base}.chain")
        with open(chain, "w") as out:
            for part in (f"{base}.pem", "ca.pem"):
                with open(os.path.join(self.folder, part)) as f:
                    out.write(f.read())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, f"{self.folder}/{base}.key")
        return context


class PolicyServer:
    """Answers every path with `status`, `kind` and `text`; keeps what was asked for,
    and what was posted. `location`: for a redirect; `hold`: what it waits for (an Event)."""

    def __init__(self, context):
        server = self
        self.text, self.status, self.kind, self.location = "", 200, "text/plain", None
        self.hold = None
        self.asked = []  # (host, path)
        self.posted = []  # (path, type, body)
        self.changed = threading.Condition()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                with server.changed:
                    server.asked.append((self.headers["Host"].split(":")[0], self.path))
                    server.changed.notify_all()
                if server.hold:
                    server.hold.wait(30)
                self.send_response(server.status)
                self.send_header("Content-Type", server.kind)
                if server.location:
                    self.send_header("Location", server.location)
                self.end_headers()
                try:
                    self.wfile.write(server.text.encode())
                except OSError:
                    pass  # it was too much

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with server.changed:
                    server.posted.append((self.path, self.headers["Content-Type"], body))
                    server.changed.notify_all()
                if server.hold:
                    server.hold.wait(30)
                self.send_response(server.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self):
                sock, peer = super().get_request()
                sock.settimeout(10)
                return server.context.wrap_socket(sock, server_side=True), peer

            def handle_error(self, request, address):
                pass  # clients that do not like the certificate

        self.context = context
        self.http = Server(("127.0.0.1", 0), Handler)
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def policy(self, mode, *mx, max_age=86400):
        self.text = "".join([f"version: STSv1\r\nmode: {mode}\r\nmax_age: {max_age}\r\n",
                             *(f"mx: {m}\r\n" for m in mx)])

    def wait(self, count, timeout=30):
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.asked) >= count, timeout):
                raise AssertionError(f"{len(self.asked)} requests came, {count} expected")

    def close(self):
        self.http.shutdown()
        self.http.server_close()
