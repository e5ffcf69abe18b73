"""`python -m cf_data_tracker` is the command line, under its own name."""

from cf_data_tracker.cli import main

if __name__ == "__main__":
    main()
