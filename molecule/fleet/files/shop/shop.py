"""An app that is as small as can be."""

from flask import Flask

app = Flask(__name__)


@app.get("/")
@app.get("/healthz")
def healthz() -> str:
    """All is well."""
    return "well"
