"""Searches: oracles propose architectures, a tuner trains and scores them and writes each down."""
