"""Helpers for everything that people read: wording, terminal tables, progress, and files."""
