"""Models: trained networks with their descriptions, as artefacts and as predictors."""
