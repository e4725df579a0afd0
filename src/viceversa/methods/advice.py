"""Advice on training problems that names options of the methods."""

_OBJECTIVE = "method.gan_loss lsgan or wgan-gp, whose gradients do not vanish as those of bce do"

PIX2PIX = {
    "saturated discriminator": _OBJECTIVE,
    "collapse": "method.gan_loss lsgan instead of bce; from the start of training, a higher "
    "method.lambda_l1",
    "identity": "a higher method.lambda_gan",
    "vanishing gradients": _OBJECTIVE,
}
CYCLEGAN = {
    "saturated discriminator": _OBJECTIVE,
    "collapse": "method.gan_loss lsgan instead of bce; from the start of training, a higher "
    "method.lambda_cycle",
    "identity": "a lower method.lambda_identity (0 leaves it out), or a higher method.lambda_gan",
    "inversion": "method.lambda_identity 5, which preserves tones",
    "vanishing gradients": _OBJECTIVE,
}
CUT = {
    "saturated discriminator": _OBJECTIVE,
    "collapse": "method.gan_loss lsgan instead of bce; from the start of training, a higher "
    "method.lambda_nce",
    "identity": "a lower method.lambda_nce or method.lambda_identity, or a higher "
    "method.lambda_gan",
    "inversion": "a higher method.lambda_identity, which preserves tones",
    "vanishing gradients": _OBJECTIVE,
}
REGGAN = {
    "saturated discriminator": _OBJECTIVE,
    "collapse": "method.gan_loss lsgan instead of bce; from the start of training, a higher "
    "method.lambda_correction",
    "identity": "a higher method.lambda_gan or method.lambda_correction",
    "vanishing gradients": _OBJECTIVE,
}
CYCLEGAN_REG = CYCLEGAN | {
    "identity": "a higher method.lambda_correction or method.lambda_gan",
    "inversion": "a higher method.lambda_correction",
}
