"""All settings. Environment variables are read here and nowhere else (README has the table)."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import tempfile
from pathlib import Path

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent


def _flag(name: str, default: bool) -> bool:
    return os.environ.get(name, "1" if default else "0").lower() in {"1", "true", "yes", "on"}


# "embedded": one machine, everything beside the code, secrets made at first start.
# "production": every secret must be given, HTTPS cookies, no defaults that could leak.
HEDAO_MODE = os.environ.get("HEDAO_MODE", "embedded")
if HEDAO_MODE not in {"embedded", "production"}:
    raise ImproperlyConfigured("HEDAO_MODE must be 'embedded' or 'production'")
IS_PRODUCTION = HEDAO_MODE == "production"

DATA_DIR = Path(os.environ.get("HEDAO_DATA", BASE_DIR / ".data"))


def _secret(name: str, filename: str) -> str:
    """A secret from the environment, or (embedded mode only) from a private file made once."""
    value = os.environ.get(name)
    if value:
        return value
    if IS_PRODUCTION:
        raise ImproperlyConfigured(f"{name} must be set in production")
    path = DATA_DIR / filename
    if not path.exists():
        DATA_DIR.mkdir(parents=True, exist_ok=True)
        candidate = path.with_suffix(f".{os.getpid()}")
        candidate.touch(mode=0o600)
        candidate.write_text(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
        try:
            os.link(candidate, path)  # atomic: the first process wins, the others read its file
        except FileExistsError:
            pass
        finally:
            candidate.unlink()
    return path.read_text().strip()


SECRET_KEY = _secret("SECRET_KEY", "secret_key")
# Newest first; each is 32 bytes in URL-safe base64. Old keys stay until rotate_keys has run.
FIELD_KEYS = _secret("FIELD_KEYS", "field_key").split(",")
# Pepper of the blind indexes (phone, buyer, address); changing it means rebuilding them.
BLIND_INDEX_KEY = _secret("BLIND_INDEX_KEY", "blind_index_key")

DEBUG = _flag("DEBUG", False)
ALLOWED_HOSTS = [h for h in os.environ.get("ALLOWED_HOSTS", "").split(",") if h]
if not ALLOWED_HOSTS:
    if IS_PRODUCTION:
        raise ImproperlyConfigured("ALLOWED_HOSTS must be set in production")
    ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
CSRF_TRUSTED_ORIGINS = [o for o in os.environ.get("CSRF_TRUSTED_ORIGINS", "").split(",") if o]
HEDAO_PORT = int(os.environ.get("HEDAO_PORT", "8600"))
HEDAO_BASE_URL = os.environ.get("HEDAO_BASE_URL", f"http://127.0.0.1:{HEDAO_PORT}")

INSTALLED_APPS = [
    "frontend.admin_config.HedaoAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "csp",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "config.tenancy.apps.TenancyConfig",
    "config.audit.apps.AuditConfig",
    "config.releases.apps.ReleasesConfig",
    "connectors.shops.apps.ShopsConfig",
    "connectors.orders.apps.OrdersConfig",
    "connectors.sync.apps.SyncConfig",
    "connectors.tabular.apps.TabularConfig",
    "rules_engine.facts.apps.FactsConfig",
    "rules_engine.rules.apps.RulesConfig",
    "rules_engine.scoring.apps.ScoringConfig",
    "workflows.interventions.apps.InterventionsConfig",
    "workflows.canvas.apps.CanvasConfig",
    "workflows.rollup.apps.RollupConfig",
    "frontend.apps.FrontendConfig",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "config.tenancy.middleware.ScopeMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "frontend" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
                "frontend.context.shell",
            ],
        },
    },
]

# --- databases -----------------------------------------------------------------------------
_DATABASE_URL = os.environ.get("DATABASE_URL", "")
if IS_PRODUCTION and not _DATABASE_URL:
    raise ImproperlyConfigured("DATABASE_URL must be set in production")
if not _DATABASE_URL:
    DATA_DIR.mkdir(parents=True, exist_ok=True)
    _DATABASE_URL = f"sqlite:///{DATA_DIR / 'hedao.sqlite3'}"
_db = dj_database_url.parse(_DATABASE_URL)
if _db["ENGINE"] == "django.db.backends.sqlite3":
    _db["OPTIONS"] = {
        # A writer that waits at BEGIN cannot fail halfway with "database is locked".
        "transaction_mode": "IMMEDIATE",
        "timeout": 30,
        # temp_store stays as it is: a statement journal in memory is walked from its beginning at
        # the end of every upsert inside a savepoint, a millisecond a row in a large transaction.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;"
        " PRAGMA cache_size=-65536;",
    }
else:
    _db["CONN_MAX_AGE"] = int(os.environ.get("DB_CONN_MAX_AGE", "60"))
    _db["CONN_HEALTH_CHECKS"] = True
    _db["DISABLE_SERVER_SIDE_CURSORS"] = True  # PgBouncer in transaction mode
DATABASES = {"default": _db}
# The role that owns the tables migrates; the application connects as a role without BYPASSRLS.
APPLICATION_ROLE = os.environ.get("DB_APPLICATION_ROLE", "hedao_app")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Redis and Celery (reasons: config/decisions/0002) --------------------------------------
REDIS_URL = os.environ.get("REDIS_URL", "")
if IS_PRODUCTION and not REDIS_URL:
    raise ImproperlyConfigured("REDIS_URL must be set in production")
if not REDIS_URL:
    # The embedded Redis of `manage.py up`: a unix socket in the data folder, random password.
    # A socket path has at most 107 bytes, so a long data folder gets a short stand-in.
    _socket = DATA_DIR / "redis.sock"
    if len(str(_socket)) > 100:
        _name = hashlib.sha256(str(DATA_DIR).encode()).hexdigest()[:12]
        # `up` makes this folder, for its owner only.
        _socket = Path(tempfile.gettempdir()) / f"hedao-{os.getuid()}-{_name}" / "redis.sock"
    EMBEDDED_REDIS_SOCKET: Path | None = _socket
    EMBEDDED_REDIS_PASSWORD = _secret("REDIS_PASSWORD", "redis_password")
    REDIS_URL = f"unix://:{EMBEDDED_REDIS_PASSWORD}@{_socket}"
    CELERY_BROKER_URL = f"redis+socket://:{EMBEDDED_REDIS_PASSWORD}@{_socket}"
else:
    EMBEDDED_REDIS_SOCKET = None
    EMBEDDED_REDIS_PASSWORD = ""
    CELERY_BROKER_URL = REDIS_URL

CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_TIME_LIMIT = 300
CELERY_TASK_SOFT_TIME_LIMIT = 240
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_CREATE_MISSING_QUEUES = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 20
CELERY_WORKER_MAX_TASKS_PER_CHILD = 1000
CELERY_WORKER_MAX_MEMORY_PER_CHILD = 600_000  # kilobytes
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 900,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 2,
    "socket_timeout": 30,
    "socket_connect_timeout": 5,
    "health_check_interval": 25,
    "global_keyprefix": "hedao:",
}
CELERY_VISIBILITY_TIMEOUT = 900

CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

# --- people ---------------------------------------------------------------------------------
AUTH_USER_MODEL = "tenancy.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_TEMPLATE = "login/locked.html"
AXES_VERBOSE = False
AXES_ENABLE_ADMIN = False

# --- language and time ----------------------------------------------------------------------
LANGUAGE_CODE = "zh-hans"
LANGUAGES = [("zh-hans", "简体中文"), ("en", "English")]
LOCALE_PATHS = [BASE_DIR / "frontend" / "locale"]
TIME_ZONE = "Asia/Shanghai"
USE_I18N = True
USE_TZ = True

# --- static files ---------------------------------------------------------------------------
STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # whitenoise warns about a missing folder
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True
MEDIA_ROOT = DATA_DIR / "files"
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024
FILE_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024

# --- security -------------------------------------------------------------------------------
from csp.constants import NONCE, NONE, SELF  # noqa: E402 - the settings module of django-csp

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 14 * 24 * 3600
if IS_PRODUCTION:
    SECURE_SSL_REDIRECT = _flag("SECURE_SSL_REDIRECT", True)
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SESSION_COOKIE_NAME = "__Host-hedao"
    CSRF_COOKIE_NAME = "__Host-csrf"

# --- API ------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["frontend.api.authentication.ScopeKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "frontend.api.errors.handle_error",
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_THROTTLE_CLASSES": ["frontend.api.throttling.KeyThrottle"],
    # Per token, counted in each web process.
    "DEFAULT_THROTTLE_RATES": {"key": os.environ.get("API_RATE", "600/min")},
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Hedao API",
    "DESCRIPTION": "标准订单、健康分与规则集（只读）。每个令牌只打开一个环境。",
    "VERSION": "1.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "ENUM_NAME_OVERRIDES": {
        "BandEnum": "rules_engine.scoring.bands.Band",
        "ChannelEnum": "connectors.shops.models.Channel",
        "StageEnum": "connectors.orders.statuses.Stage",
    },
}

# --- logs -----------------------------------------------------------------------------------
LOG_LEVEL = os.environ.get("LOG_LEVEL", "INFO")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "config.logs.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "django.server": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        "axes": {"level": "WARNING"},
    },
}
