"""All of Dagster: assets, their checks, jobs, schedules, sensors, and running them in this process.

Thin: each definition reads the profile, calls the domain, and reports to Dagster.
"""
