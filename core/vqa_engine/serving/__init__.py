"""The OpenAI-compatible server: one question about one picture per request.

It drives the sessions that a run drives and keeps the journal that a run keeps. Starlette and
uvicorn come with the extra `serve`; nothing here is imported before a server is started.
"""
