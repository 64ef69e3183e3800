import type { NextConfig } from "next";

/** In the wheel this is a marker that the gateway replaces while it starts, so that one build serves any address. */
const basePath = process.env.NEXT_PUBLIC_BASE_PATH ?? "";

const nextConfig: NextConfig = {
  output: "export",
  trailingSlash: true,
  basePath,
  images: { unoptimized: true },
  reactStrictMode: true,
  poweredByHeader: false,
  generateBuildId: async () => process.env.ASAHI_BUILD_ID ?? "dev",
  turbopack: { root: import.meta.dirname },
};

export default nextConfig;
