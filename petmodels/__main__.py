"""`python -m petmodels`: the command line, for where no script is installed."""

from petmodels.main import main

if __name__ == "__main__":
    main()
