#!/usr/bin/python3
"""Answers 200 on loopback, over HTTP and HTTPS: https_server.py HTTP_PORT HTTPS_PORT CERTIFICATE_AND_KEY."""
import http.server
import ssl
import sys
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = "café in ISO-8859-1\n".encode("iso-8859-1")
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=ISO-8859-1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve(port, context=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


def main():
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sys.argv[3])
    secure = serve(int(sys.argv[2]), tls)
    threading.Thread(target=secure.serve_forever, daemon=True).start()
    serve(int(sys.argv[1])).serve_forever()


if __name__ == "__main__":
    main()
