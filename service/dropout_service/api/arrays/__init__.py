"""Wire encodings of arrays: JSON, npy and safetensors."""
