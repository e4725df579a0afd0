"""Range of the values that metrics compare, and the smallest images and sets that they accept."""

PEAK = 2.0  # from -1 to 1: the peak of PSNR
SSIM_SIDE = 11  # px: one window
MS_SSIM_SIDE = 176  # px: one window after four halvings
LPIPS_SIDE = 64  # px
SWD_SIDE = 16  # px
# Halves of one set of photographs have a KID of 0 +- 0.020 with 8 images each, 0.003 with 50 and
# 0.002 with 100: with fewer the noise is as large as the differences of interest.
KID_IMAGES = 50
