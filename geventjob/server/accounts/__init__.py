"""Who calls and what they may do: users, passwords, sessions, API keys, roles and access control lists."""
