"""The Zava retail shop: its records, its rules, and an MCP server through which agents work on it."""
