"""What writes machine code: LLVM intrinsics, number formats, transcendental functions, AES and its keystream."""
