"""What is answered: written by a script or made up, then delivered in steps."""
