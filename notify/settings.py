"""Settings, all from the environment; every one has a default that lets a first start work without any.

README, “Settings”, lists them with their meaning; a test holds that table against this file.
"""

from datetime import time, timedelta
from pathlib import Path

import environ

from notify import embedded, file_broker, log
from notify.keys import load_keys
from notify.storages import storage
from notify.switches import switch

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(env.str("NOTIFY_VAR_DIR", default=str(BASE_DIR / "var")))  # everything this installation writes


def seconds(name: str, default: float) -> timedelta:
    """Read a duration: the environment variable is the setting's name with _SECONDS."""
    return timedelta(seconds=env.float(f"{name}_SECONDS", default=default))


# --- Which installation this is ---------------------------------------------------------------------------------

NOTIFY_ENVIRONMENT = env.str("NOTIFY_ENVIRONMENT", default="development")
PRODUCTION = NOTIFY_ENVIRONMENT in ("live", "production")  # both words mean the same
DEBUG = env.bool("DEBUG", default=False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[] if PRODUCTION else ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
BASE_URL = env.str("BASE_URL", default="http://localhost:8000")  # how people and providers reach the web process

_keys = load_keys(environ.Env.ENVIRON, file=VAR_DIR / "secrets.env", production=PRODUCTION)
SECRET_KEY = _keys["SECRET_KEY"]
ENCRYPTION_KEYS = tuple(_keys["ENCRYPTION_KEYS"].split(","))
SEARCH_HASH_KEY = _keys["SEARCH_HASH_KEY"]

# --- Django ------------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "jobs",
    "letters",
    "providers",
    "callbacks",
    "notify",
    "django_celery_beat",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "jobs.uploads.refuse_unread",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "notify.clock.LocalTimeMiddleware",
]
ROOT_URLCONF = "notify.urls"
WSGI_APPLICATION = "notify.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LANGUAGE_CODE = "en-gb"
FORMAT_MODULE_PATH = ["notify.formats"]  # dates as “24 Nov 2026, 09:30 GMT”, the zone always named
USE_TZ = True
TIME_ZONE = "UTC"  # inside everything is UTC; people read and type times in NOTIFY_TIME_ZONE
NOTIFY_TIME_ZONE = env.str("NOTIFY_TIME_ZONE", default="Europe/London")
STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static" if PRODUCTION else None  # filled by collectstatic
WHITENOISE_USE_FINDERS = not PRODUCTION  # a first run needs no collectstatic
WHITENOISE_AUTOREFRESH = DEBUG

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = PRODUCTION
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("BEHIND_PROXY", default=False) else None
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=31_536_000 if PRODUCTION else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = PRODUCTION

# --- Database: PostgreSQL, by DATABASE_URL or embedded under var/ ---------------------------------------------------

EMBEDDED_DATA_DIR = embedded.data_directory(VAR_DIR)
EMBEDDED_DATABASE = not env.str("DATABASE_URL", default="")
_SOCKETS = str(embedded.socket_directory(EMBEDDED_DATA_DIR))
_EMBEDDED = {"ENGINE": "notify.postgresql", "NAME": "notify", "USER": "notify", "HOST": _SOCKETS}
DATABASES = {"default": _EMBEDDED if EMBEDDED_DATABASE else env.db_url("DATABASE_URL")}
DATABASES["default"] |= {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}
DATABASES["default"].setdefault("OPTIONS", {}).setdefault("application_name", "notify")

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": VAR_DIR / "files"}},
    "jobs": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": VAR_DIR / "jobs"}},
    "letters-pdf": storage(env.str("LETTERS_PDF_STORAGE", default=""), folder=VAR_DIR / "letters-pdf"),
    "letters-scan": storage(env.str("LETTERS_SCAN_STORAGE", default=""), folder=VAR_DIR / "letters-scan"),
    "letters-invalid": storage(env.str("LETTERS_INVALID_STORAGE", default=""), folder=VAR_DIR / "letters-invalid"),
    "postal": storage(env.str("LETTERS_POSTAL_STORAGE", default=""), folder=VAR_DIR / "postal"),
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

# --- Celery: messages are nudges, so nothing is kept and everything may be delivered twice ---------------------------

EMBEDDED_BROKER = not env.str("CELERY_BROKER_URL", default="")
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default="notifyfile://localhost//")
if EMBEDDED_BROKER:
    file_broker.register()
    CELERY_BROKER_TRANSPORT_OPTIONS = file_broker.transport_options(VAR_DIR / "broker")
elif CELERY_BROKER_URL.startswith(("amqp", "pyamqp")):
    # Publisher confirms, and a publish that gives up within a second: the row is the truth, the message a nudge.
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "confirm_publish": True,
        "max_retries": 1,
        "interval_start": 0,
        "interval_max": 0.2,
        "read_timeout": 5,
        "write_timeout": 1,
    }
CELERY_BROKER_CONNECTION_TIMEOUT = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # a worker waits for its broker for as long as it takes
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.2}
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_EXPIRES = None  # otherwise beat adds a clean-up row of its own
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_CREATE_MISSING_QUEUES = False  # a misspelt queue raises instead of filling a queue with no worker
CELERY_TASK_SOFT_TIME_LIMIT = 20 * 60
CELERY_TASK_TIME_LIMIT = 21 * 60  # below RabbitMQ's consumer timeout (30 minutes)
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_MAX_TASKS_PER_CHILD = 5_000
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
DJANGO_CELERY_BEAT_TZ_AWARE = True

# --- Thresholds: how long is too long, how many is too many ----------------------------------------------------------
# Durations are timedeltas; the environment variable is the name here with _SECONDS.

JOB_ROWS_LIMIT = env.int("JOB_ROWS_LIMIT", default=100_000)  # rows a file may have
JOB_FILE_BYTES_LIMIT = env.int("JOB_FILE_BYTES_LIMIT", default=100_000_000)
JOB_CHUNK_ROWS = env.int("JOB_CHUNK_ROWS", default=2_500)  # rows per transaction while a job is processed
JOB_SCHEDULED_AHEAD_LIMIT = seconds("JOB_SCHEDULED_AHEAD_LIMIT", 7 * 86_400)
JOB_STALLED_AFTER = seconds("JOB_STALLED_AFTER", 1_800)  # no progress: a job writes a chunk every second or so
JOB_MISSING_ROWS_AFTER = seconds("JOB_MISSING_ROWS_AFTER", 600)  # a finished job of 100,000 rows is written in less
JOB_REPAIRED_FOR = seconds("JOB_REPAIRED_FOR", 3 * 86_400)  # the shortest retention: it may have taken older rows
JOB_RECOVERIES_LIMIT = env.int("JOB_RECOVERIES_LIMIT", default=3)  # then a person looks
RETENTION_DAYS = env.int("RETENTION_DAYS", default=7)  # where a service has no data retention of its own
PERFORMANCE_PLATFORM_URL = env.str("PERFORMANCE_PLATFORM_URL", default="")  # empty: totals are stored, not pushed
SMS_CHARACTER_LIMIT = env.int("SMS_CHARACTER_LIMIT", default=918)  # six SMS parts of 153
EMAIL_CHARACTER_LIMIT = env.int("EMAIL_CHARACTER_LIMIT", default=1_000_000)
LETTER_CHARACTER_LIMIT = env.int("LETTER_CHARACTER_LIMIT", default=100_000)  # ten pages hold no more, even of an i
LETTER_PAGES_LIMIT = env.int("LETTER_PAGES_LIMIT", default=10)  # five sheets: what the postal provider folds
LETTER_RENDERING_BATCH = env.int("LETTER_RENDERING_BATCH", default=100)  # letters claimed at a time
LETTER_RENDERING_LEASE = seconds("LETTER_RENDERING_LEASE", 300)  # renewed while a slow storage takes its time
LETTER_RENDERING_ATTEMPTS_LIMIT = env.int("LETTER_RENDERING_ATTEMPTS_LIMIT", default=4)  # then technical-failure
PHONE_REGION = env.str("PHONE_REGION", default="GB")  # of numbers written without a country code
vars().update(env.email_url("EMAIL_URL", default="smtp://localhost:25"))  # EMAIL_BACKEND, EMAIL_HOST and so on
EMAIL_BACKEND = env.str("EMAIL_BACKEND", default=vars()["EMAIL_BACKEND"])  # an anymail.backends.… for an interface
EMAIL_TIMEOUT = 10  # seconds, per step of SMTP
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="notify@localhost")
# Of django-anymail, such as {"POSTMARK_SERVER_TOKEN": "…"}; what an interface cannot carry is left out, not an error.
ANYMAIL = {"IGNORE_UNSUPPORTED_FEATURES": True, "REQUESTS_TIMEOUT": 10} | env.json("ANYMAIL", default={})
DEFAULT_SMS_SENDER = env.str("DEFAULT_SMS_SENDER", default="Notify")

LOOP_FOR = seconds("LOOP_FOR", 50)  # a loop gives its place back after this long; the next tick goes on
LOOP_LINGER_FOR = seconds("LOOP_LINGER_FOR", 2)  # an idle loop waits this long for more; above NUDGE_EVERY
LOOP_DUE_WITHIN = seconds("LOOP_DUE_WITHIN", 15)  # or for work that is due within this
LOOP_SLOTS = env.int("LOOP_SLOTS", default=2)  # copies of one loop at once, over all workers
# A loop that asks nothing of the database for this long is frozen and loses its place; above the longest call it makes.
LOOP_FROZEN_AFTER = seconds("LOOP_FROZEN_AFTER", 300)
NUDGE_EVERY = seconds("NUDGE_EVERY", 1)  # at most one wake-up per task, process and this long

SENDING_CONCURRENCY = env.int("SENDING_CONCURRENCY", default=100)  # requests on the wire per loop
SENDING_LEASE = seconds("SENDING_LEASE", 60)  # above PROVIDER_REQUEST_TIMEOUT, with room for writing results
SENDING_TRY_LATER_FOR = seconds("SENDING_TRY_LATER_FOR", 4 * 3_600)  # then technical-failure
UNKNOWN_OUTCOME_WAIT = seconds("UNKNOWN_OUTCOME_WAIT", 600)  # for a receipt, before a message is sent once more
PROVIDER_REQUEST_TIMEOUT = seconds("PROVIDER_REQUEST_TIMEOUT", 10)  # wall clock, per request
NOTIFICATION_TIMED_OUT_AFTER = seconds("NOTIFICATION_TIMED_OUT_AFTER", 3 * 86_400)  # no final status: given up
NOTIFICATION_WAITING_AFTER = seconds("NOTIFICATION_WAITING_AFTER", 3_600)  # created and due this long: said aloud
PROVIDER_HELD_FOR = seconds("PROVIDER_HELD_FOR", 4 * 3_600)  # offered for the hold of a change by hand
PROVIDERS_REST_AFTER = seconds("PROVIDERS_REST_AFTER", 3_600)  # without a change of share, shares tend to rest
PROVIDERS_REST_STEP = env.int("PROVIDERS_REST_STEP", default=10)  # points a share moves towards rest at a time
RECEIPT_BYTES_LIMIT = env.int("RECEIPT_BYTES_LIMIT", default=256_000)
RECEIPT_SENT_WITHIN = seconds("RECEIPT_SENT_WITHIN", 30)  # wall clock; then a slow sender's connection is closed
RECEIPT_PARKED_FOR = seconds("RECEIPT_PARKED_FOR", 7 * 86_400)  # a receipt waits this long for its notification
LETTER_DEADLINE = time.fromisoformat(env.str("LETTER_DEADLINE", default="17:30"))  # local: what goes that day
PRINT_RUN_AT = time.fromisoformat(env.str("PRINT_RUN_AT", default="17:50"))  # local: collated from then on
LETTER_ZIP_FILES_LIMIT = env.int("LETTER_ZIP_FILES_LIMIT", default=500)  # letters in one zip
LETTER_ZIP_BYTES_LIMIT = env.int("LETTER_ZIP_BYTES_LIMIT", default=40_000_000)  # of the PDFs in one zip
LETTER_ZIPS_KEPT_FOR = seconds("LETTER_ZIPS_KEPT_FOR", 30 * 86_400)  # after acknowledgement: questions come late
LETTER_SENDING_WORKING_DAYS = env.int("LETTER_SENDING_WORKING_DAYS", default=2)  # without a receipt: said aloud
BANK_HOLIDAYS = env.str("BANK_HOLIDAYS", default="GB-ENG")  # country and subdivision of the package holidays
CALLBACK_CONCURRENCY = env.int("CALLBACK_CONCURRENCY", default=100)
CALLBACK_LEASE = seconds("CALLBACK_LEASE", 60)
CALLBACK_CONNECT_TIMEOUT = seconds("CALLBACK_CONNECT_TIMEOUT", 5)
CALLBACK_REQUEST_TIMEOUT = seconds("CALLBACK_REQUEST_TIMEOUT", 15)  # wall clock, per request
CALLBACK_TRUSTED_TARGETS = env.list("CALLBACK_TRUSTED_TARGETS", default=[])  # host:port, exempt from address rules
ALERT_EMAILS = [address.strip() for address in env.list("ALERT_EMAILS", default=[]) if address.strip()]
ALERT_WEBHOOK_URL = env.str("ALERT_WEBHOOK_URL", default="").strip()  # takes {"text": …}, as Slack's hooks do
ALERTS_ENABLED = switch(env.str("ALERTS_ENABLED", default=""), otherwise=PRODUCTION)  # whether alerts leave at all
ALERT_RETRY_AFTER = seconds("ALERT_RETRY_AFTER", 60)  # doubled after each try in vain, up to 16 times this
ALERT_LEASE = seconds("ALERT_LEASE", 300)  # above what one email may take: 10 seconds for each step of SMTP
ALERT_LAPSES_LIMIT = env.int("ALERT_LAPSES_LIMIT", default=3)  # tries of one alert and channel that a crash cuts off
ALERT_UNTOLD_AFTER = seconds("ALERT_UNTOLD_AFTER", 3_600)  # an alert nobody could be told of is then said in the log
LETTER_FILE_BYTES_LIMIT = env.int("LETTER_FILE_BYTES_LIMIT", default=100_000_000)  # of a precompiled letter
CLAMD_SOCKET = env.str("CLAMD_SOCKET", default="")  # a path, or host:port; empty: nothing is scanned
LETTER_SCAN_TIMEOUT = seconds("LETTER_SCAN_TIMEOUT", 120)  # wall clock, per file; clamd's own MaxScanTime is 120 s
LETTER_SCAN_LEASE = seconds("LETTER_SCAN_LEASE", 300)  # above LETTER_SCAN_TIMEOUT, and room for checks and the move
LETTER_SCAN_AFTER = seconds("LETTER_SCAN_AFTER", 5_400)  # an unscanned letter this old is said aloud

# --- Log: one line per event, never with personal data ----------------------------------------------------------------

LOG_LEVEL = env.str("LOG_LEVEL", default="INFO")
LOGGING = log.configuration(LOG_LEVEL)
