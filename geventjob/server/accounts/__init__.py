"""Accounts: users, passwords, sessions, API keys, roles and access control lists."""
