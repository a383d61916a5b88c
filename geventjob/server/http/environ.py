"""Keys of the WSGI environment that the HTTP server and the application share."""

AUTHENTICATED = "geventjob.authenticated"
"""A function without arguments: the application calls it once a user has authenticated on the connection."""
CLIENT_GONE = "geventjob.client_gone"
"""A function without arguments: returns whether the client has closed the connection."""
PERMITS = "geventjob.permits"
"""The `admission.Permits` of the request."""
