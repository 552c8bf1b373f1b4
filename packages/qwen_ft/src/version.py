"""The release that this code is; CHANGELOG.md says what is in it."""

VERSION = "0.1.0"
