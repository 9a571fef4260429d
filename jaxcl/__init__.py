"""A laboratory for contrastive losses in JAX.

The similarity matrix is the seam of this library: whatever produces ``similarities [n, m]`` (images, networks, devices)
does not know the loss, and whatever consumes it (losses, gradients, figures) does not know the devices.

Shapes are written with these letters everywhere:

====  =============================================
n     anchors (rows of the similarity matrix)
m     candidates (columns of the similarity matrix)
d     dimension of an embedding or projection
c     classes, or channels where a pixel is meant
b     images in the global batch
v     views of an image
h w   pixels
t     temperatures
====  =============================================
"""

from jaxcl.version import __version__

__all__ = ["__version__"]
