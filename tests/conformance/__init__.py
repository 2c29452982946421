"""Tests of the conformance kit: a good adapter passes, each bad one fails its own test."""
