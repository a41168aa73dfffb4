"""For ``panel serve atmorep_lite/app/main.py``: the live app, one session a page."""

from atmorep_lite.app.view import TITLE, served_app

served_app().servable(title=TITLE)
