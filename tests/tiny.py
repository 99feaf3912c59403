"""Command-line overrides for small models, one set for each kind."""

MLP = ("model.hidden=[8]",)
TINY = (*MLP, "latent_dim=3")
PLANE = (*MLP, "latent_dim=2")
SPHERE = (*MLP, "latent_dim=4", "posterior=vmf")
GUMBEL = (*MLP, "latent_dim=10", "posterior=gumbel", "posterior.categories=4", "posterior.normal=2")
VQ = (*MLP, "latent_dim=8", "posterior=vq", "posterior.codes=6", "objective=vq")
RESIDUAL_VQ = (*MLP, "latent_dim=8", "posterior=residual_vq", "posterior.codes=6")
RESIDUAL_VQ += ("posterior.dim=2", "posterior.depth=2", "objective=vq")
TRANSFORMER = ("prior=transformer", "prior.channels=4", "prior.layers=1", "prior.heads=2")
CONDITIONAL = ("model=conditional", *TINY)
LADDER = ("model=ladder", "model.hidden=[8,6]", "model.latents=[3,2]", "latent_dim=5")
BOTTOM_UP = ("model=bottom_up", "model.hidden=[[8],[6]]", "model.latents=[3,2]", "latent_dim=5")
