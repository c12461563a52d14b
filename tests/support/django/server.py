"""Owns an OAuth server of another code base than the one in tools/oauth-server: django-oauth-toolkit, set up as the
developer of an app would, with rotation, reuse protection and, if asked, a grace period. Keeps a ledger of what its token
endpoint was asked, which is what tests count. Serves one request at a time over a database in memory, so that a failure
is never this server's own. Refuses to be more than local, and ends when the process that started it does.

Its one argument is JSON: {"grace": seconds, "first_token_ttl": seconds, "access_token_ttl": seconds}. Its first line of output is its port.
"""

import json
import logging
import os
import sys
import threading
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
from django.conf import settings

OPTIONS = json.loads(sys.argv[1])

SIGN_IN = '<!doctype html><form method="post">{% csrf_token %}{{ form }}<button>Sign in</button></form>'



def life_of_token(request):
    """A first token may be short, so that its end can be waited for, and the next long, so that nobody has to hurry."""
    return OPTIONS["first_token_ttl" if request.grant_type == "authorization_code" else "access_token_ttl"]


settings.configure(
    SECRET_KEY=os.urandom(32).hex(),
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    ROOT_URLCONF="__main__",
    USE_TZ=True,
    LOGIN_URL="/sign-in",
    STATIC_URL="/static/",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions", "oauth2_provider"],
    AUTHENTICATION_BACKENDS=["__main__.Anybody"],
    MIDDLEWARE=[
        "__main__.ledger",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [
                    ("django.template.loaders.locmem.Loader", {"sign-in.html": SIGN_IN}),
                    "django.template.loaders.app_directories.Loader",
                ],
            },
        }
    ],
    OAUTH2_PROVIDER={
        "SCOPES": {"profile": "See who you are", "files": "Read your files"},
        "PKCE_REQUIRED": True,
        "ACCESS_TOKEN_EXPIRE_SECONDS": OPTIONS["access_token_ttl"],
        "EXTRA_SERVER_KWARGS": {"token_expires_in": life_of_token},
        "ROTATE_REFRESH_TOKEN": True,
        "REFRESH_TOKEN_REUSE_PROTECTION": True,
        "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": OPTIONS["grace"],
    },
)
# The server is reached over the loopback address only, where there is no TLS.
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
django.setup()
# What fails is in the ledger, or in the answer.
logging.disable()

from django.contrib.auth import get_user_model  # noqa: E402 (models exist after the set-up)
from django.contrib.auth.backends import ModelBackend  # noqa: E402
from django.contrib.auth.views import LoginView  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse, JsonResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402
from oauth2_provider.decorators import protected_resource  # noqa: E402
from oauth2_provider.models import AccessToken, Application  # noqa: E402

LEDGER = []
# Whose refresh token one is, also after the server has forgotten it.
OWNERS = {}


class Anybody(ModelBackend):
    """Whoever signs in may be whom they like: another name is another account."""

    def authenticate(self, request, username=None, password=None):
        return get_user_model().objects.get_or_create(username=username)[0]


def ledger(get_response):
    """Notes every request to the token endpoint, and how it ended."""

    def note(request):
        response = get_response(request)
        if request.path == "/token/":
            answer = json.loads(response.content) if response["content-type"].startswith("application/json") else {}
            account = OWNERS.get(request.POST.get("refresh_token"))
            if "refresh_token" in answer:
                account = AccessToken.objects.get(token=answer["access_token"]).user.username
                OWNERS[answer["refresh_token"]] = account
            grant = request.POST.get("grant_type")
            LEDGER.append({"grant": grant, "account": account, "status": response.status_code, "error": answer.get("error")})
        return response

    return note


@protected_resource(scopes=["profile"])
def me(request):
    user = request.resource_owner
    return JsonResponse({"id": str(user.pk), "email": f"{user.username}@example.test"})


@csrf_exempt
def register(request):
    """What the developer of a client would do by hand: one client, with one more redirect address."""
    asked = json.loads(request.body)
    known = Application.objects.filter(client_id=asked["client_id"]).first()
    fields = {
        "client_secret": asked["client_secret"],
        # A slow hash would be most of this server's work and guards nothing here.
        "hash_client_secret": False,
        "client_type": Application.CLIENT_CONFIDENTIAL,
        "authorization_grant_type": Application.GRANT_AUTHORIZATION_CODE,
        "redirect_uris": " ".join([*(known.redirect_uris.split() if known else []), asked["redirect_uri"]]),
    }
    Application.objects.update_or_create(client_id=asked["client_id"], defaults=fields)
    return HttpResponse(status=204)


urlpatterns = [
    path("sign-in", LoginView.as_view(template_name="sign-in.html")),
    path("me", me),
    path("test/clients", register),
    path("test/ledger", lambda request: JsonResponse(LEDGER, safe=False)),
    path("", include("oauth2_provider.urls")),
]


class Patient(WSGIServer):
    """Whoever comes while another is served waits in line."""

    request_queue_size = 256


class Quiet(WSGIRequestHandler):
    def log_message(self, format, *args):
        """Requests are in the ledger; their addresses contain codes."""


def end_with_parent():
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    server = make_server("127.0.0.1", 0, get_wsgi_application(), Patient, Quiet)
    threading.Thread(target=end_with_parent, daemon=True).start()
    print(server.server_port, flush=True)
    server.serve_forever()
