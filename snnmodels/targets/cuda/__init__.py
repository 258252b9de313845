"""The event engine on a GPU: rules printed as in `cpp`, each trial the work of one block."""
