"""``python -m whichgpu``: the same as the command ``whichgpu``."""

from whichgpu.cli import main

if __name__ == "__main__":
    main()
