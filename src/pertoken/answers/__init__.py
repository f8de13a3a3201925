"""The nine questions that people ask of token prices, each answered with figures of a model, a machine and a traffic."""
