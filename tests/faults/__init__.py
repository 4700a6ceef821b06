"""Servers and clients while processes die, disks fail and strangers attack."""
