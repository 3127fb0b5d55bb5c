"""Fixtures of the hub's tests."""
import people
import pytest


@pytest.fixture
def visit(hub):
    """visit(role) -> a Visitor who has signed in, as a user of people.fill()."""
    def go(role):
        visitor = people.Visitor(hub)
        visitor.sign_in(f"{role}@example.com")
        visitor.ask("/account")         # has a form, and so the CSRF token
        return visitor
    return go
