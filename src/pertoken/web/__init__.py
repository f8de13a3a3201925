"""The page: ``pertoken serve``, its API, and what keeps both safe. Made by `pertoken.web.app.application`."""
