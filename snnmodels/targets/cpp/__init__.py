"""The event engine in C++: rules printed as templates over lanes, and a hand-written runtime that calls them."""
