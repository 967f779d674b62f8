"""Documents that machines read and that are made from the code's own tables: `python -m deploy.documents` writes them.

They are committed, so that nobody needs our environment to read them; tests/test_documents.py holds what is committed
equal to what is made. Never part of the program: nothing of ours imports this package but tests.
"""
