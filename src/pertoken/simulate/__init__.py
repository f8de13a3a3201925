"""The simulator: real arrivals, request by request, on the step times that the closed form uses."""
