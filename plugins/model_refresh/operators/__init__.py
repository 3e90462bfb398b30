"""Tasks that do something: pods on the volume, the approval, the switch and its way back."""
