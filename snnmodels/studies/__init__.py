"""Studies made with the package: experiments as published, transfer of networks, an autoencoder, and their figures."""
