"""A script that asks a person something: nobody answers."""

name = input("Name of the run? ")
