"""An issuer of tokens, as HTTP APIs take them: RS256, with an OpenID configuration; see deploy.sh."""

import base64
import http.server
import json
import threading
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Serves its keys on a port of the loopback interface."""

    def __init__(self):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        numbers = self.key.public_key().public_numbers()
        modulus, exponent = (encoded(number.to_bytes((number.bit_length() + 7) // 8)) for number in (numbers.n, numbers.e))
        key = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "key-1", "n": modulus, "e": exponent}
        issuer = self

        class Pages(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                pages = {"/.well-known/openid-configuration": {"issuer": issuer.url, "jwks_uri": issuer.url + "/jwks"},
                         "/jwks": {"keys": [key]}}
                body = json.dumps(pages.get(self.path)).encode()
                self.send_response(200 if self.path in pages else 404)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
        self.url = f"http://localhost:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def token(self, audience, sub, scope, has_times=True, **more):
        """A token with more claims; for an hour, or for ever without times."""
        claims = {"iss": self.url, "aud": audience, "sub": sub, "scope": scope} | more
        if has_times:
            claims |= {"iat": int(time.time()), "exp": int(time.time()) + 3600}
        parts = [encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "key-1", "typ": "JWT"}, claims)]
        signature = self.key.sign(".".join(parts).encode(), padding.PKCS1v15(), hashes.SHA256())
        return ".".join([*parts, encoded(signature)])
