"""Builds a release, and checks that it is one: `make release`, `make release-check`, docs/releasing.md."""
