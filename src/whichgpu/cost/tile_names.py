"""Output tiles, rows x columns, of the matrix kernels of cuBLAS and cuDNN."""

TILE_NAMES = ("256x128", "128x128", "128x64", "64x64", "128x32", "32x128", "64x32", "32x32")
